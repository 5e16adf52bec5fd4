"""What every row stands on, and what knows no movie: the store, leases, retries, children, the start of Prefect."""

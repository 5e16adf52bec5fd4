"""The champion: the gate's verdict, moves and their ledger, the lock, what each target serves."""

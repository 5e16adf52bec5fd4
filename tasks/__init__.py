"""The doors to the world, one module a neighbour. A plain function does the work; `@task` adds retries and a name."""

"""`python -m kubestage new NAME`: from addresses to an inventory, its group data and known host keys."""

"""What preflight asks of hosts. A rule is a generator of problems; it reads settings and reports, and nothing else."""

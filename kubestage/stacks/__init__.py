"""What runs on the cluster: a module a stack makes the Stack of it from settings."""

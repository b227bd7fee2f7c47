"""Alibaba Cloud ECS. Its SDK is imported by client.py alone: requirements-aliyun.txt has it."""

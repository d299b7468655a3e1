"""Claims that the symbolic engine proves or refutes."""

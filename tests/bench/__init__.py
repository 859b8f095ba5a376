"""What is measured rather than asserted; `python -m tests.bench` prints it. Figures are of the machine they ran on."""

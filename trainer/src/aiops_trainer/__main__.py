"""Makes `python -m aiops_trainer` the same as the `aiops-trainer` command."""

from aiops_trainer.cli import main

main()

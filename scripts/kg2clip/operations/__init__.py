"""What a person asks beside a run: is this machine fit (doctor), why would a job run again (why). Changes nothing."""

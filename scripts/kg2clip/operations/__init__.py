"""What a person asks beside a run: is this machine fit (doctor). Reads config, profiles, results; changes nothing."""

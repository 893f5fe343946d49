"""What a run will ask for before anything is spent: calls, days, money, pictures, disk, GPU hours."""

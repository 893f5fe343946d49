"""From raw downloads to decoded pictures, and the decision which of them are kept."""

"""CaloChallenge's figures of two files, beside those it has published."""

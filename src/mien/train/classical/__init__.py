"""Classical models on pixels or on distances between landmarks."""

"""What the server does behind the routes: the engine, its workers and batches, and jobs."""

"""What stands between the network and the routes: security, forms, problems, schemas, metrics, records."""

"""One machine standing in for Azure, for development and rehearsal. Nothing that is deployed imports it."""

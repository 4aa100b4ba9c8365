"""Safe loading: models of others, `.keras` files and SavedModels, read without running what they bring along."""

"""Where notifications come from. A source knows neither the database nor the tasks."""

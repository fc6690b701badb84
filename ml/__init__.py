"""The bid platform without Airflow: market, features, models, gates, bids."""

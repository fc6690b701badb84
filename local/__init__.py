"""Bidwright on one machine: Airflow and a mailbox, started, told a story and stopped again by one command."""

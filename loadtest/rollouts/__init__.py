"""Rollouts, measured: six strategies bring version 2 of the topics service out under load, a good one and bad ones."""

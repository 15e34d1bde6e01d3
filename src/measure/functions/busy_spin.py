"""The function that only computes: what STeLLAR calls hellopy."""
import time

from busy import spin


def work(fields: dict, links) -> dict:
    spin(fields)
    return {'RequestID': links.request_id, 'TimestampChain': [str(time.time() * 1000)]}

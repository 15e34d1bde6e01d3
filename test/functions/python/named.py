"""Handlers with names of their own."""


def convert(params):
    return {'converted': params}


def on_event(event, context):
    return {'id': context.aws_request_id, 'event': event}


def nothing():
    return 'nothing'


value = 7

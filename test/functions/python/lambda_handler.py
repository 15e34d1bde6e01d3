"""`handler(event, context)`, as for AWS Lambda."""


def handler(event, context):
    if event.get('want') == 'context':
        return {
            'id': context.aws_request_id,
            'name': context.function_name,
            'version': context.function_version,
            'memory': context.memory_limit_in_mb,
            'remaining': context.get_remaining_time_in_millis(),
        }
    if event.get('want') == 'described':
        return {'statusCode': 202, 'headers': {'content-type': 'text/csv'}, 'cookies': ['a=1'], 'isBase64Encoded': True, 'body': 'YSxiCg=='}
    return event

# The smallest function: give it {"name": "you"}, or open its URL with ?name=you.
def main(params):
    return {'greeting': f'Hello, {params.get("name", "world")}!'}

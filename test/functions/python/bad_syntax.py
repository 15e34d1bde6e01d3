def main(params):
    return {"unclosed": 1

import sys
sys.exit("usage: …")

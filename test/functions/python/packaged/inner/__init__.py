value = "relative"

"""How good it is: ranking metrics with intervals, and the experiments that use them."""

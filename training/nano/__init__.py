"""The recipe of streampose-nano: label photos by teachers, train a detector and a key-point model, export them."""

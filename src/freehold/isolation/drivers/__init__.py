"""What implements `isolation.driver.Driver`. Chosen by name in `open_driver`, never by what happens to work."""

"""Event files of any camera: formats that are read, and the one gate that all of them pass."""

"""A page in which a model follows the face before the reader's camera: the sketch of a board as WebAssembly."""

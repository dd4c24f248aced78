"""Images and tables of what is trained: layers, diagrams, augmentation."""

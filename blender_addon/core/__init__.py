"""What the add-on knows without Blender and without a network: plain standard-library Python."""

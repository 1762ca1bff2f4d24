"""What only building the add-on's zip needs: the server's parts and lock files. No part of the add-on itself."""

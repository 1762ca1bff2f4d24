"""`python -m model_server` is `posedub`."""

import sys

from model_server.cli.main import main

sys.exit(main())

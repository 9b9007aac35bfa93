"""Write config.schema.json from the configuration's models (`make schema`)."""

import json
from pathlib import Path

from spikereach.config import Config

PATH = Path(__file__).with_name("config.schema.json")


def text() -> str:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema |= Config.model_json_schema()
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())

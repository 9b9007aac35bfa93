"""Write the schema and config/README.md from the configuration's models (`make schema`).

The README's introduction, above its first section, is written by hand and kept.
"""

import json
from pathlib import Path
from typing import Any

from spikereach.config import Config

ROOT = Path(__file__).parents[2]
SCHEMA, README = ROOT / "workflow/schemas/config.schema.json", ROOT / "config/README.md"


def schema() -> str:
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(head | Config.model_json_schema(), indent=2) + "\n"


def readme() -> str:
    whole = Config.model_json_schema()
    blocks = {"Keys": whole} | whole["$defs"]
    introduction = README.read_text("utf-8").partition("## ")[0]
    return introduction + "\n".join(_section(*each) for each in blocks.items())


def _section(name: str, block: dict[str, Any]) -> str:
    lines = [f"## {name}", ""]
    if name != "Keys" and "description" in block:
        lines += [_line(block["description"].partition("\n\n")[0]), ""]
    lines += ["| key | value | meaning |", "|---|---|---|"]
    for key, each in block["properties"].items():
        default = f"; default {json.dumps(each['default'])}" if "default" in each else ""
        value = f"{_value(each)}{default}".replace("|", "\\|")
        lines.append(f"| `{key}` | {value} | {_line(each.get('description', ''))} |")
    return "\n".join(lines) + "\n"


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _value(schema: dict[str, Any]) -> str:
    """What may stand there, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(map(_value, schema[key]))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema.get("enum", [schema.get("const")]))
    if "prefixItems" in schema:
        return f"list of {len(schema['prefixItems'])}: {_value(schema['prefixItems'][0])}"
    if schema.get("type") == "array":
        return f"list of {_value(schema['items'])}"
    if schema.get("type") == "object":
        [inner] = schema.get("patternProperties", {"": schema.get("additionalProperties")}).values()
        return f"by name: {_value(inner)}" if isinstance(inner, dict) else "mapping"
    limits = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[key]:g}" for key, sign in limits.items() if key in schema]
    return " ".join([schema.get("type", "anything"), *bounds])


FILES = {SCHEMA: schema, README: readme}

if __name__ == "__main__":
    for path, text in FILES.items():
        path.write_text(text(), "utf-8")

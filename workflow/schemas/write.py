"""Write the schema and config/README.md from the configuration's models (`make schema`)."""

import json
from pathlib import Path
from typing import Any

from spikereach.config import Config

ROOT = Path(__file__).parents[2]

INTRODUCTION = """# Configuration

Made from the models in src/spikereach/config/ by `make schema`.

`config.yaml` in the repository's root has every key, with the values of the paper. An overlay such
as those in workflow/presets/ changes single ones, in a checkout:

    snakemake --cores 8 --directory runs/mine --configfile mine.yaml

Another workflow takes this one as a module, with a whole configuration of its own, such as a
changed copy of config.yaml. The package `spikereach` has to be installed where it runs; with
`--sdm conda`, set `SPIKEREACH_CHECKOUT` to the folder of a checkout.

    configfile: "config/config.yaml"

    module spikereach:
        snakefile: "path/to/spikereach/workflow/Snakefile"
        config: config
        prefix: "decoders"

    use rule * from spikereach as spikereach_*

Outputs then lie under `decoders/`, and relative folders count from that other repository.
Unknown keys are refused, and so is what does not fit together; the message names the key.
"""


def schema() -> str:
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(head | Config.model_json_schema(), indent=2) + "\n"


def readme() -> str:
    whole = Config.model_json_schema()
    sections = [INTRODUCTION, _section("Keys", whole)]
    sections += [_section(name, block) for name, block in whole["$defs"].items()]
    return "\n".join(sections)


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


FILES = {
    ROOT / "workflow" / "schemas" / "config.schema.json": schema,
    ROOT / "config" / "README.md": readme,
}

if __name__ == "__main__":
    for path, text in FILES.items():
        path.write_text(text())

"""Reads a model's versions with MLflow's own client, as a colleague with a notebook would, and prints them as JSON."""

from __future__ import annotations

import argparse
import json
import warnings

# The client warns that stages are deprecated; scenarios read them nevertheless, while MLflow has them.
warnings.simplefilter("ignore", FutureWarning)

from mlflow import MlflowClient  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tracking_uri")
    parser.add_argument("model", help="the registered model, <namespace>.<model>")
    arguments = parser.parse_args()

    client = MlflowClient(tracking_uri=arguments.tracking_uri)
    aliases = client.get_registered_model(arguments.model).aliases
    versions = client.search_model_versions(f"name = '{arguments.model}'")
    print(
        json.dumps(
            {
                "aliases": {alias: str(version) for alias, version in aliases.items()},
                "stages": {str(version.version): version.current_stage for version in versions},
            }
        )
    )


if __name__ == "__main__":
    main()

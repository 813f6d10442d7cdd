"""The WebSocket API on the emulator, which clients and functions reach by path: it answers to no name of its own."""

from collections.abc import Iterable, Mapping

from dev.emulator import Emulator


def live_url(emulator: Emulator, outputs: Mapping[str, str]) -> str:
    """Where WebSockets connect."""
    return live_endpoint(emulator, outputs).replace("http://", "ws://")


def live_endpoint(emulator: Emulator, outputs: Mapping[str, str]) -> str:
    """Where messages for them are handed in."""
    return f"{emulator.url}/_aws/execute-api/{outputs['LiveApiId']}/live"


def correct_addresses(emulator: Emulator, outputs: Mapping[str, str], functions: Iterable[str]) -> None:
    """Gives the functions that were told an address on AWS the one here."""
    here = {"LIVE_URL": live_url(emulator, outputs), "LIVE_ENDPOINT": live_endpoint(emulator, outputs)}
    client = emulator.client("lambda")
    for name in functions:
        variables = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        corrected = variables | {variable: here[variable] for variable in here.keys() & variables.keys()}
        if corrected != variables:
            client.update_function_configuration(FunctionName=name, Environment={"Variables": corrected})

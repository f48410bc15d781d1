"""How commands name a person: `--email a@b.com`, `--user u42`, `--id …`."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from identity.nodes import Identifier, Node
from storage.profiles import Lookup

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OPTIONS = {
    "user": "user_id",
    "email": "email",
    "phone": "phone",
    "anonymous": "anonymous_id",
    "device": "device_id",
    "advertising": "advertising_id",
    "ga": "ga_client_id",
}
NODE_HEX = 32


def lookup_options(command: _Command) -> _Command:
    """Adds the options that name a person."""
    command = click.option("--external", metavar="TYPE=VALUE", help="Any configured external id.")(
        command
    )
    for option, type_name in reversed(_OPTIONS.items()):
        command = click.option(f"--{option}", metavar="VALUE", help=f"By {type_name}.")(command)
    return click.option("--id", "profile_id", metavar="HEX", help="By profile id.")(command)


def people_options(command: _Command) -> _Command:
    """Adds the options that name people, each as often as one likes."""
    command = click.option(
        "--external", multiple=True, metavar="TYPE=VALUE", help="Any configured external id."
    )(command)
    for option in ("phone", "email", "user"):
        command = click.option(
            f"--{option}", multiple=True, metavar="VALUE", help=f"By {_OPTIONS[option]}; repeats."
        )(command)
    return click.option(
        "--id", "profile_id", multiple=True, metavar="HEX", help="By profile or identifier id."
    )(command)


def all_wanted(options: dict[str, Any]) -> list[Lookup]:
    """A lookup for each value of `people_options`."""
    found = [Lookup(profile_id=parse_node(each)) for each in options["profile_id"]]
    for option in ("user", "email", "phone"):
        found += [wanted({option: value}) for value in options[option]]
    return found + [wanted({"external": each}) for each in options["external"]]


def side(text: str) -> list[Lookup]:
    """The lookups of `user=u42,email=a@b.com`; a usage error if it is none."""
    found = []
    for each in filter(None, map(str.strip, text.split(","))):
        name, equals, value = each.partition("=")
        if not equals:
            raise click.UsageError(f"{each!r}: write user=…, email=…, phone=…, id=… or TYPE=…")
        if name == "id":
            found.append(wanted({"profile_id": value}))
        elif name in _OPTIONS:
            found.append(wanted({name: value}))
        else:
            found.append(wanted({"external": each}))
    return found


def wanted(options: dict[str, Any]) -> Lookup:
    """The lookup that the options name; a usage error if they name none."""
    if profile_id := options.get("profile_id"):
        return Lookup(profile_id=parse_node(profile_id))
    identifiers = [
        Identifier(type_name, options[option])
        for option, type_name in _OPTIONS.items()
        if options.get(option)
    ]
    if external := options.get("external"):
        type_name, equals, value = external.partition("=")
        if not equals:
            raise click.UsageError("--external takes TYPE=VALUE, for example crm_id=4711")
        identifiers.append(Identifier(type_name, value))
    if not identifiers:
        raise click.UsageError("name somebody: --email, --user, --phone, --anonymous, … or --id")
    return Lookup(identifiers=tuple(identifiers))


def parse_node(text: str) -> Node:
    """A profile id as it is printed; a usage error if it is none."""
    try:
        node = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        node = b""
    if len(node) * 2 != NODE_HEX:
        raise click.UsageError(f"a profile id has {NODE_HEX} hexadecimal digits")
    return Node(node)


def said(lookup: Lookup) -> str:
    """A lookup as whoever typed it named it: `email a@b.com`."""
    if lookup.profile_id is not None:
        return f"id {lookup.profile_id.hex()}"
    return ", ".join(f"{each.type} {each.value}" for each in lookup.identifiers)

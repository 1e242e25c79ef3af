//! `CLUSTER` and the flags of a cluster connection.

use crate::commands::command::{Arity, Command, Group, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::row::{acl, flags};
use crate::error::Error;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "asking",
        arity: Arity::Exactly(1),
        flags: flags!(FAST),
        acl: acl!(CONNECTION),
        summary: "Lets the next command use a slot that is being imported.",
        since: "3.0.0",
        group: Group::Cluster,
        run: disabled,
        ..Command::DEFAULT
    },
    Command {
        name: "cluster",
        arity: Arity::AtLeast(2),
        summary: "Commands about the cluster.",
        since: "3.0.0",
        group: Group::Cluster,
        complexity: "that of the subcommand",
        subcommands: &[
            Command {
                name: "addslots",
                arity: Arity::AtLeast(3),
                flags: flags!(ADMIN | STALE | NO_ASYNC_LOADING),
                syntax: "slot:int...",
                summary: "Gives hash slots to this node.",
                since: "3.0.0",
                group: Group::Cluster,
                complexity: "O(N), N slots",
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "addslotsrange",
                arity: Arity::AtLeast(4),
                flags: flags!(ADMIN | STALE | NO_ASYNC_LOADING),
                syntax: "(range: start-slot:int end-slot:int)...",
                summary: "Gives ranges of hash slots to this node.",
                since: "7.0.0",
                group: Group::Cluster,
                complexity: "O(N), N slots in the ranges",
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "bumpepoch",
                arity: Arity::Exactly(2),
                flags: flags!(ADMIN | STALE | NO_ASYNC_LOADING),
                summary: "Raises this node's configuration epoch.",
                since: "3.0.0",
                group: Group::Cluster,
                tips: &["nondeterministic_output"],
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "count-failure-reports",
                arity: Arity::Exactly(3),
                flags: flags!(ADMIN | STALE),
                syntax: "node-id",
                summary: "Number of nodes that report a node as failing.",
                since: "3.0.0",
                group: Group::Cluster,
                complexity: "O(N), N reports",
                tips: &["nondeterministic_output"],
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "countkeysinslot",
                arity: Arity::Exactly(3),
                flags: flags!(STALE),
                syntax: "slot:int",
                summary: "Number of keys in a hash slot.",
                since: "3.0.0",
                group: Group::Cluster,
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "delslots",
                arity: Arity::AtLeast(3),
                flags: flags!(ADMIN | STALE | NO_ASYNC_LOADING),
                syntax: "slot:int...",
                summary: "Takes hash slots away from this node.",
                since: "3.0.0",
                group: Group::Cluster,
                complexity: "O(N), N slots",
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "delslotsrange",
                arity: Arity::AtLeast(4),
                flags: flags!(ADMIN | STALE | NO_ASYNC_LOADING),
                syntax: "(range: start-slot:int end-slot:int)...",
                summary: "Takes ranges of hash slots away from this node.",
                since: "7.0.0",
                group: Group::Cluster,
                complexity: "O(N), N slots in the ranges",
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "failover",
                arity: Arity::AtLeast(2),
                flags: flags!(ADMIN | STALE | NO_ASYNC_LOADING),
                syntax: "[options: FORCE | TAKEOVER]",
                summary: "Starts a manual failover from a replica.",
                since: "3.0.0",
                group: Group::Cluster,
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "flushslots",
                arity: Arity::Exactly(2),
                flags: flags!(ADMIN | STALE | NO_ASYNC_LOADING),
                summary: "Takes all hash slots away from this node.",
                since: "3.0.0",
                group: Group::Cluster,
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "forget",
                arity: Arity::Exactly(3),
                flags: flags!(ADMIN | STALE | NO_ASYNC_LOADING),
                syntax: "node-id",
                summary: "Removes a node from the node table.",
                since: "3.0.0",
                group: Group::Cluster,
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "getkeysinslot",
                arity: Arity::Exactly(4),
                flags: flags!(STALE),
                syntax: "slot:int count:int",
                summary: "Names of keys in a hash slot.",
                since: "3.0.0",
                group: Group::Cluster,
                complexity: "O(N), N keys asked for",
                tips: &["nondeterministic_output"],
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "help",
                arity: Arity::Exactly(2),
                flags: flags!(LOADING | STALE),
                summary: "Lists the subcommands.",
                since: "5.0.0",
                group: Group::Cluster,
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "info",
                arity: Arity::Exactly(2),
                flags: flags!(STALE),
                summary: "State of the cluster as this node sees it.",
                since: "3.0.0",
                group: Group::Cluster,
                tips: &["nondeterministic_output"],
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "keyslot",
                arity: Arity::Exactly(3),
                flags: flags!(STALE),
                syntax: "key:string",
                summary: "Hash slot of a key.",
                since: "3.0.0",
                group: Group::Cluster,
                complexity: "O(N), N bytes in the key",
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "links",
                arity: Arity::Exactly(2),
                flags: flags!(STALE),
                summary: "The links to and from other nodes.",
                since: "7.0.0",
                group: Group::Cluster,
                complexity: "O(N), N nodes",
                tips: &["nondeterministic_output"],
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "meet",
                arity: Arity::AtLeast(4),
                flags: flags!(ADMIN | STALE | NO_ASYNC_LOADING),
                syntax: "ip port:int [cluster-bus-port:int^4.0.0]",
                summary: "Makes another node part of the cluster.",
                since: "3.0.0",
                group: Group::Cluster,
                history: &[("4.0.0", "The bus port can be given as `cluster_bus_port`.")],
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "myid",
                arity: Arity::Exactly(2),
                flags: flags!(STALE),
                summary: "Identifier of this node.",
                since: "3.0.0",
                group: Group::Cluster,
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "myshardid",
                arity: Arity::Exactly(2),
                flags: flags!(STALE),
                summary: "Identifier of this node's shard.",
                since: "7.2.0",
                group: Group::Cluster,
                tips: &["nondeterministic_output"],
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "nodes",
                arity: Arity::Exactly(2),
                flags: flags!(STALE),
                summary: "The nodes of the cluster, one a line.",
                since: "3.0.0",
                group: Group::Cluster,
                complexity: "O(N), N nodes",
                tips: &["nondeterministic_output"],
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "replicas",
                arity: Arity::Exactly(3),
                flags: flags!(ADMIN | STALE),
                syntax: "node-id",
                summary: "The replicas of a node.",
                since: "5.0.0",
                group: Group::Cluster,
                complexity: "O(N), N replicas",
                tips: &["nondeterministic_output"],
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "replicate",
                arity: Arity::Exactly(3),
                flags: flags!(ADMIN | STALE | NO_ASYNC_LOADING),
                syntax: "node-id",
                summary: "Makes this node a replica of another.",
                since: "3.0.0",
                group: Group::Cluster,
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "reset",
                arity: Arity::AtLeast(2),
                flags: flags!(ADMIN | NOSCRIPT | STALE),
                syntax: "[reset-type: HARD | SOFT]",
                summary: "Forgets the other nodes and the slots.",
                since: "3.0.0",
                group: Group::Cluster,
                complexity: "O(N), N known nodes; a replica also drops its data",
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "saveconfig",
                arity: Arity::Exactly(2),
                flags: flags!(ADMIN | STALE | NO_ASYNC_LOADING),
                summary: "Writes the cluster state to its file.",
                since: "3.0.0",
                group: Group::Cluster,
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "set-config-epoch",
                arity: Arity::Exactly(3),
                flags: flags!(ADMIN | STALE | NO_ASYNC_LOADING),
                syntax: "config-epoch:int",
                summary: "Sets the configuration epoch of a fresh node.",
                since: "3.0.0",
                group: Group::Cluster,
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "setslot",
                arity: Arity::AtLeast(4),
                flags: flags!(ADMIN | STALE | NO_ASYNC_LOADING),
                syntax: "slot:int (subcommand: IMPORTING importing#node-id | MIGRATING migrating#node-id | NODE node#node-id | STABLE)",
                summary: "Says which node a hash slot belongs to, or that it is on its way.",
                since: "3.0.0",
                group: Group::Cluster,
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "shards",
                arity: Arity::Exactly(2),
                flags: flags!(LOADING | STALE),
                summary: "Slots and nodes, shard by shard.",
                since: "7.0.0",
                group: Group::Cluster,
                complexity: "O(N), N nodes",
                tips: &["nondeterministic_output"],
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "slaves",
                arity: Arity::Exactly(3),
                flags: flags!(ADMIN | STALE),
                syntax: "node-id",
                summary: "The replicas of a node, under the old name.",
                since: "3.0.0",
                group: Group::Cluster,
                complexity: "O(N), N replicas",
                deprecated: Some(("5.0.0", "`CLUSTER REPLICAS`")),
                tips: &["nondeterministic_output"],
                run: disabled,
                ..Command::DEFAULT
            },
            Command {
                name: "slots",
                arity: Arity::Exactly(2),
                flags: flags!(LOADING | STALE),
                summary: "Ranges of slots and the nodes that serve them.",
                since: "3.0.0",
                group: Group::Cluster,
                complexity: "O(N), N nodes",
                history: &[
                    ("4.0.0", "Node identifiers are part of the reply."),
                    ("7.0.0", "Further network facts of a node are part of the reply."),
                ],
                deprecated: Some(("7.0.0", "`CLUSTER SHARDS`")),
                tips: &["nondeterministic_output"],
                run: disabled,
                ..Command::DEFAULT
            },
        ],
        ..Command::DEFAULT
    },
    Command {
        name: "readonly",
        arity: Arity::Exactly(1),
        flags: flags!(LOADING | STALE | FAST),
        acl: acl!(CONNECTION),
        summary: "Allows reads from a cluster replica.",
        since: "3.0.0",
        group: Group::Cluster,
        run: disabled,
        ..Command::DEFAULT
    },
    Command {
        name: "readwrite",
        arity: Arity::Exactly(1),
        flags: flags!(LOADING | STALE | FAST),
        acl: acl!(CONNECTION),
        summary: "Ends what READONLY allowed.",
        since: "3.0.0",
        group: Group::Cluster,
        run: disabled,
        ..Command::DEFAULT
    },
];

/// The answer of every command about the cluster: this server is no node of one.
fn disabled(_: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    Err(Error::Line("ERR This instance has cluster support disabled"))
}

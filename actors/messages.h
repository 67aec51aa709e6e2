// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <caf/allowed_unsafe_message_type.hpp>
#include <caf/atom.hpp>
#include <caf/typed_actor.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/query_queue.h"
#include "actors/restore_order.h"
#include "millrace/error.h"
#include "runtime/commit.h"
#include "runtime/restore.h"
#include "runtime/task.h"

/// The messages between actors. Everything is passed by value or behind a shared pointer to const;
/// nothing leaves the process.
namespace millrace {

using poll_atom = caf::atom_constant<caf::atom("poll")>;
using tick_atom = caf::atom_constant<caf::atom("tick")>;
using wake_atom = caf::atom_constant<caf::atom("wake")>;
using start_atom = caf::atom_constant<caf::atom("start")>;
using prepare_atom = caf::atom_constant<caf::atom("prepare")>;
using committed_atom = caf::atom_constant<caf::atom("committed")>;
using drain_atom = caf::atom_constant<caf::atom("drain")>;
using close_atom = caf::atom_constant<caf::atom("close")>;
using query_atom = caf::atom_constant<caf::atom("query")>;
using join_atom = caf::atom_constant<caf::atom("join")>;
using leave_atom = caf::atom_constant<caf::atom("leave")>;
using commit_atom = caf::atom_constant<caf::atom("commit")>;
using flush_atom = caf::atom_constant<caf::atom("flush")>;
using offsets_atom = caf::atom_constant<caf::atom("offsets")>;
using answer_atom = caf::atom_constant<caf::atom("answer")>;
using void_atom = caf::atom_constant<caf::atom("void")>;
using broken_atom = caf::atom_constant<caf::atom("broken")>;
using renew_atom = caf::atom_constant<caf::atom("renew")>;
using restore_atom = caf::atom_constant<caf::atom("restore")>;
using assigned_atom = caf::atom_constant<caf::atom("assigned")>;
using revoked_atom = caf::atom_constant<caf::atom("revoked")>;
using running_atom = caf::atom_constant<caf::atom("running")>;
using settled_atom = caf::atom_constant<caf::atom("settled")>;
using ends_atom = caf::atom_constant<caf::atom("ends")>;
using counts_atom = caf::atom_constant<caf::atom("counts")>;
using check_atom = caf::atom_constant<caf::atom("check")>;
using checked_atom = caf::atom_constant<caf::atom("checked")>;
using remove_atom = caf::atom_constant<caf::atom("remove")>;
using failed_atom = caf::atom_constant<caf::atom("failed")>;
using fatal_atom = caf::atom_constant<caf::atom("fatal")>;
using stop_atom = caf::atom_constant<caf::atom("stop")>;

/// One attempt at a task: messages of an earlier attempt are told apart by the number.
struct TaskRef {
  TaskId id;
  std::uint64_t attempt = 0;

  auto operator<=>(const TaskRef&) const = default;
};

/// Driver partitions that came or went.
struct AssignmentChange {
  std::vector<TopicPartition> partitions;
  std::uint64_t epoch = 0;  ///< Of the partitions that came: the ownership that commits must name.
  bool lost = false;        ///< They are gone already: nothing can be committed for them.
};

/// The commit of one task, sent only while its ownership epoch lives.
struct CommitRequest {
  TopicPartition driver;
  std::uint64_t epoch = 0;
  std::vector<OffsetCommit> offsets;
};
using CommitRequests = std::shared_ptr<const std::vector<CommitRequest>>;
/// The definite result of each, in order.
using CommitResults = std::shared_ptr<const std::vector<Status>>;

using Partitions = std::shared_ptr<const std::vector<TopicPartition>>;
/// Either what is committed, in the order asked for, or why that cannot be read.
struct OffsetsAnswer {
  std::shared_ptr<const std::vector<CommittedOffset>> committed;
  Status status;
};

/// The answer to prepare: null when there is nothing to commit.
struct Prepared {
  std::shared_ptr<const PreparedCommit> commit;
  bool failed = false;  ///< The task has told the supervisor why.
};

/// A task's engines at its committed ends, on the way from the restorer to the task actor, which
/// takes them out.
struct RestoredTask {
  TaskPlan plan;
  TaskEngines engines;
  TaskStart start;
};
using RestoredTaskPtr = std::shared_ptr<RestoredTask>;

struct RestoreRequest {
  TaskPlan plan;
  std::vector<CommittedOffset> committed;
  std::shared_ptr<RestoreOrder> order;
  std::string damage;  ///< What its engines were found to be damaged by; empty if they are sound.
};
using RestoreRequestPtr = std::shared_ptr<const RestoreRequest>;
/// Either the task or why not.
struct RestoreAnswer {
  RestoredTaskPtr task;
  Status status;
};

/// By store in the order of the plan; nullopt where the store writes none.
using Changelogs = std::shared_ptr<const std::vector<std::optional<TopicPartition>>>;
/// Where changelogs end for readers of committed records, by store in the order of the plan; -1
/// where the store writes none. Null: not known.
using LogEnds = std::shared_ptr<const std::vector<std::int64_t>>;

using TopicNames = std::shared_ptr<const std::vector<std::string>>;
/// How many partitions topics have; those that no broker has told about are absent.
using PartitionCounts = std::map<std::string, std::int32_t>;
using PartitionCountsPtr = std::shared_ptr<const PartitionCounts>;

struct TaskFailure {
  TaskRef task;
  Status status;
  bool progressed = false;  ///< The attempt had committed that its inputs went on.
  bool sound = false;       ///< What it has committed may be kept: the cause lies elsewhere.
  bool blameless = false;   ///< It begins again because another task has failed.
  bool damaged = false;     ///< What its engines hold cannot be read: they have to be rebuilt.
};

using TaskHandle = caf::typed_actor<
    caf::reacts_to<wake_atom>, caf::reacts_to<tick_atom>,
    caf::replies_to<prepare_atom>::with<Prepared>,
    // Exactly-once: null if the transaction was committed without anything of this task.
    caf::reacts_to<committed_atom, std::shared_ptr<const CommitPoint>>, caf::reacts_to<drain_atom>,
    // By store in the order of the plan; true: before the end. Answers whether the task may go on.
    caf::replies_to<check_atom, LogEnds, bool>::with<bool>,
    caf::replies_to<close_atom, bool>::with<bool>,  // true: checkpoint what is committed.
    caf::reacts_to<query_atom, QueryPtr>>;

/// A task as the committer knows it.
struct CommitMember {
  TaskRef task;
  TaskHandle handle;
  TopicPartition driver;
  std::uint64_t epoch = 0;
};

using CommitterHandle =
    caf::typed_actor<caf::reacts_to<poll_atom>, caf::reacts_to<join_atom, CommitMember>,
                     caf::reacts_to<leave_atom, TaskRef>, caf::reacts_to<commit_atom, TaskId>,
                     // Answers once everything the tasks had processed is committed, or they are
                     // gone.
                     caf::replies_to<flush_atom, std::vector<TaskId>>::with<bool>,
                     // Drops what is on its way to the brokers; answers when that is done.
                     caf::replies_to<void_atom>::with<bool>,
                     // The answer to broken: the tasks that write are closed.
                     caf::reacts_to<renew_atom>, caf::replies_to<stop_atom>::with<bool>>;

using MembershipHandle =
    caf::typed_actor<caf::reacts_to<poll_atom>,
                     caf::replies_to<commit_atom, CommitRequests>::with<CommitResults>,
                     caf::replies_to<offsets_atom, Partitions>::with<OffsetsAnswer>,
                     caf::reacts_to<answer_atom>,  // The tasks of a revocation are closed.
                     caf::replies_to<stop_atom>::with<bool>>;

using RestorerHandle =
    caf::typed_actor<caf::replies_to<restore_atom, RestoreRequestPtr>::with<RestoreAnswer>,
                     caf::replies_to<ends_atom, Changelogs>::with<LogEnds>,
                     caf::replies_to<counts_atom, TopicNames>::with<PartitionCountsPtr>,
                     // Deletes a directory that nobody uses any more.
                     caf::reacts_to<remove_atom, std::string>, caf::reacts_to<stop_atom>>;

using SupervisorHandle = caf::typed_actor<
    caf::reacts_to<start_atom>, caf::reacts_to<assigned_atom, AssignmentChange>,
    caf::reacts_to<revoked_atom, AssignmentChange>, caf::reacts_to<running_atom, TaskRef>,
    caf::reacts_to<failed_atom, TaskFailure>,
    // The producer must be renewed, once these are closed.
    caf::reacts_to<broken_atom, std::vector<TaskFailure>>, caf::reacts_to<start_atom, TaskRef>,
    caf::reacts_to<fatal_atom, Status>, caf::reacts_to<settled_atom>, caf::reacts_to<tick_atom>,
    caf::reacts_to<check_atom>, caf::reacts_to<checked_atom>, caf::reacts_to<stop_atom>>;

}  // namespace millrace

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::TaskRef)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::TaskId)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::vector<millrace::TaskId>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::AssignmentChange)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::CommitRequests)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::CommitResults)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::Partitions)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::OffsetsAnswer)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::Prepared)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::RestoreRequestPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::RestoreAnswer)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::Changelogs)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::LogEnds)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::TopicNames)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::PartitionCountsPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::TaskFailure)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::vector<millrace::TaskFailure>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::QueryPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::CommitMember)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::Status)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::shared_ptr<const millrace::CommitPoint>)

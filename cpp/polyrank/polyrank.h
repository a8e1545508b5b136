// All that a C++ program needs to run ranks, in lockstep (see examples/cpp) or as threads.
#pragma once

#include <polyrank/core/errors.h>
#include <polyrank/dist2/process_groups.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/local_tensor.h>
#include <polyrank/report/collective_record.h>
#include <polyrank/report/trace_json.h>
#include <polyrank/world/collective_op.h>
#include <polyrank/world/collectives.h>
#include <polyrank/world/device_mesh.h>
#include <polyrank/world/functional_collectives.h>
#include <polyrank/world/lockstep_world.h>
#include <polyrank/world/messages.h>
#include <polyrank/world/module_scope.h>
#include <polyrank/world/operator_watch.h>
#include <polyrank/world/rank_functions.h>
#include <polyrank/world/reduction.h>
#include <polyrank/world/run_ranks.h>

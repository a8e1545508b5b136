// All that a C++ program needs to run ranks: in lockstep (see examples/cpp), as threads, as
// processes.
#pragma once

#include <polyrank/api/collectives.h>
#include <polyrank/api/device_mesh.h>
#include <polyrank/api/functional_collectives.h>
#include <polyrank/api/lockstep_world.h>
#include <polyrank/api/messages.h>
#include <polyrank/api/rank_functions.h>
#include <polyrank/api/run_processes.h>
#include <polyrank/api/run_ranks.h>
#include <polyrank/core/errors.h>
#include <polyrank/dist2/process_groups.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/local_tensor.h>
#include <polyrank/exchange/collective_op.h>
#include <polyrank/exchange/reduction.h>
#include <polyrank/report/collective_record.h>
#include <polyrank/report/trace_json.h>
#include <polyrank/world/module_scope.h>
#include <polyrank/world/operator_watch.h>

#include <polyrank/bindings/source_lines.h>
#include <polyrank/core/interned.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <unordered_map>

namespace polyrank {

namespace py = pybind11;

namespace {

std::string folder_of(const char* module) {
  const auto file = py::module_::import(module).attr("__file__").cast<std::string>();
  return file.substr(0, file.find_last_of('/') + 1);
}

// torch's files whose functions a program calls to launch, below torch's folder.
constexpr std::array<std::string_view, 4> kLaunchingFiles{
    "distributed/distributed_c10d.py", "distributed/c10d_logger.py",
    "distributed/_functional_collectives.py", "_ops.py"};

// Where code lies that is not the user's.
struct OtherFolders {
  std::array<std::string, 2> packages{folder_of("torch"), folder_of("polyrank")};
  std::string standard_library = folder_of("os");

  bool hold(std::string_view file) const {
    if (std::any_of(packages.begin(), packages.end(),
                    [&](const std::string& folder) { return file.starts_with(folder); })) {
      return true;
    }
    if (file.ends_with("/typing_extensions.py")) {  // wraps functions of torch that are deprecated
      return true;
    }
    // Installed packages lie inside the standard library's folder.
    return file.starts_with(standard_library) &&
           file.find("-packages/", standard_library.size()) == std::string_view::npos;
  }

  // Whether it is a file of torch that launches for itself, if it launches.
  bool is_torchs_own(std::string_view file) const {
    return file.starts_with(torch()) &&
           std::ranges::find(kLaunchingFiles, file.substr(torch().size())) == kLaunchingFiles.end();
  }

 private:
  const std::string& torch() const { return packages.front(); }
};

// "<string>" and the like: whose it is shows in the module that it runs in.
bool is_generated_by_torch(PyFrameObject* frame) {
  const auto globals = py::reinterpret_steal<py::dict>(PyFrame_GetGlobals(frame));
  if (!globals.contains("__name__") || !py::isinstance<py::str>(globals["__name__"])) {
    return false;
  }
  const auto module = globals["__name__"].cast<std::string>();
  return module == "torch" || module.starts_with("torch.") || module.starts_with("polyrank.");
}

struct Owner {
  std::string_view user_file;  // empty: not the user's
  bool is_torchs_own = false;
};

// Whose code a code object is. Guarded by the GIL.
class CodeObjects {
 public:
  Owner owner(PyFrameObject* frame, PyCodeObject* code) {
    const auto found = entries_.find(code);
    if (found != entries_.end()) {
      return found->second.owner;
    }
    const auto name = py::reinterpret_borrow<py::object>(code->co_filename).cast<std::string>();
    const bool is_other = name.starts_with('<')
                              ? name.starts_with("<frozen ") || is_generated_by_torch(frame)
                              : folders_.hold(name);
    Entry entry{py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(code)),
                Owner{.user_file = is_other ? std::string_view() : interned(name),
                      .is_torchs_own = folders_.is_torchs_own(name)}};
    return entries_.emplace(code, std::move(entry)).first->second.owner;
  }

  void clear() { entries_.clear(); }

 private:
  struct Entry {
    py::object code;  // keeps the address from being another code object's
    Owner owner;
  };

  OtherFolders folders_;
  std::unordered_map<const PyCodeObject*, Entry> entries_;
};

CodeObjects& code_objects() {
  static auto* const objects = new CodeObjects();  // outlives the interpreter's last thread
  return *objects;
}

template <class Object>
struct NewReference {
  explicit NewReference(Object* object) : object(object) {}
  ~NewReference() { Py_XDECREF(reinterpret_cast<PyObject*>(object)); }
  NewReference(const NewReference&) = delete;
  NewReference& operator=(const NewReference&) = delete;
  Object* object;
};

// Calls `visit(owner, frame)` from the calling thread's innermost frame outwards, until it gives
// true. Returns: whether it did
template <class Visit>
bool any_frame(const Visit& visit) {
  if (Py_IsInitialized() == 0 || PyGILState_GetThisThreadState() == nullptr) {
    return false;
  }
  const py::gil_scoped_acquire gil;
  const py::error_scope pending;  // reading frames must neither see nor lose an error
  CodeObjects& objects = code_objects();
  PyFrameObject* frame = PyThreadState_GetFrame(PyThreadState_Get());
  while (frame != nullptr) {
    const NewReference<PyFrameObject> held(frame);
    const NewReference<PyCodeObject> code(PyFrame_GetCode(frame));
    if (visit(objects.owner(frame, code.object), frame)) {
      return true;
    }
    frame = PyFrame_GetBack(frame);
  }
  return false;
}

}  // namespace

SourceLine python_source_line() {
  SourceLine line;
  any_frame([&line](const Owner& owner, PyFrameObject* frame) {
    if (owner.user_file.empty()) {
      return false;
    }
    line = {owner.user_file, PyFrame_GetLineNumber(frame)};
    return true;
  });
  return line;
}

bool is_in_torch() {
  bool is_programs = false;
  any_frame([&is_programs](const Owner& owner, PyFrameObject*) {
    is_programs = !owner.user_file.empty();
    return is_programs || owner.is_torchs_own;
  });
  return !is_programs;
}

void forget_code_objects() { code_objects().clear(); }

}  // namespace polyrank

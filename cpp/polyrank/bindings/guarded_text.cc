#include <polyrank/bindings/asked_compares.h>
#include <polyrank/bindings/bindings.h>
#include <polyrank/bindings/builtin_calls.h>
#include <polyrank/bindings/guarded_text.h>
#include <polyrank/bindings/warm_code.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <utility>

namespace polyrank {

namespace py = pybind11;

namespace {

// What CPython has in the classes.
struct OfPython {
  hashfunc hash = PyUnicode_Type.tp_hash;
  richcmpfunc compare = PyUnicode_Type.tp_richcompare;
  objobjproc contains = PyUnicode_Type.tp_as_sequence->sq_contains;
  lenfunc length = PyUnicode_Type.tp_as_sequence->sq_length;
  binaryfunc item = PyUnicode_Type.tp_as_mapping->mp_subscript;
  getiterfunc iterate = PyUnicode_Type.tp_iter;
  newfunc new_bytes = PyBytes_Type.tp_new;
  initproc init_bytes = PyByteArray_Type.tp_init;
  newfunc new_int = PyLong_Type.tp_new;
  vectorcallfunc call_int = PyLong_Type.tp_vectorcall;  // null in Python 3.11
  newfunc new_float = PyFloat_Type.tp_new;
  vectorcallfunc call_float = PyFloat_Type.tp_vectorcall;
};

const OfPython& of_python() {
  static const OfPython functions;
  return functions;
}

// Objects that live as long as the process.
struct Guarding {
  TextGuards guards;
  py::handle text{reinterpret_cast<PyObject*>(&PyUnicode_Type)};
  InterceptedBuiltins methods;
  std::int64_t num_guarded = 0;
};

Guarding& guarding() {
  static auto* const all = new Guarding();
  return *all;
}

thread_local bool is_asking = false;

// While a guard looks at text, nothing is asked.
class Asking {
 public:
  Asking() { is_asking = true; }
  ~Asking() { is_asking = false; }
  Asking(const Asking&) = delete;
  Asking& operator=(const Asking&) = delete;
};

// Shorter than the text of any number that differs.
constexpr Py_ssize_t kShortest = 18;

// "({", as of "LocalIntNode({", the "r(4" of "LocalTensor(4 ranks", or the "k(r" of
// "PerRank(rank", in any case.
bool has_marker(PyObject* text) {
  const Py_ssize_t length = PyUnicode_GET_LENGTH(text);
  if (length < kShortest) {
    return false;
  }
  for (Py_ssize_t place = 0; place + 1 < length; ++place) {
    place = PyUnicode_FindChar(text, '(', place, length - 1, 1);
    if (place < 0) {
      return false;
    }
    const Py_UCS4 next = PyUnicode_READ_CHAR(text, place + 1);
    const Py_UCS4 last = place == 0 ? 0 : PyUnicode_READ_CHAR(text, place - 1);
    const bool is_tensor = next >= '0' && next <= '9' && (last == 'r' || last == 'R');
    const bool is_per_rank = (next == 'r' || next == 'R') && (last == 'k' || last == 'K');
    if (next == '{' || is_tensor || is_per_rank) {
      return true;
    }
  }
  return false;
}

bool is_asked_about(PyObject* object) {
  return !is_asking && PyUnicode_Check(object) != 0 && has_marker(object);
}

constexpr int kContains = -1;  // beside Python's Py_LT, Py_LE, …

// False with an error set: refused.
bool may_be_one(PyObject* text, PyObject* other, int how) {
  const Asking asking;
  const auto number = py::int_(how);
  const std::array<PyObject*, 3> arguments{text, other, number.ptr()};
  PyObject* const answer = PyObject_Vectorcall(guarding().guards.as_one.ptr(), arguments.data(),
                                               arguments.size(), nullptr);
  Py_XDECREF(answer);
  return answer != nullptr;
}

// A new reference, or null with an error set.
PyObject* take_apart(py::handle function, py::handle args, py::handle keywords) {
  const Asking asking;
  const std::array<PyObject*, 3> arguments{function.ptr(), args.ptr(),
                                           keywords ? keywords.ptr() : Py_None};
  return PyObject_Vectorcall(guarding().guards.taken_apart.ptr(), arguments.data(),
                             arguments.size(), nullptr);
}

// The same of a method of `str` that is called by a slot.
PyObject* take_apart(const char* method, PyObject* text, PyObject* arg = nullptr) {
  const auto function =
      py::reinterpret_steal<py::object>(PyObject_GetAttrString(guarding().text.ptr(), method));
  py::tuple args(arg == nullptr ? 1 : 2);
  args[0] = py::handle(text);
  if (arg != nullptr) {
    args[1] = py::handle(arg);
  }
  return function ? take_apart(function, args, py::handle()) : nullptr;
}

// What was refused last. CPython looks attributes up with two hashes of the name: it drops the
// error of the first, and 3.11 is not ready for one of the second, where it would read what is no
// memory of its own. So what is asked again without any Python code in between is not refused
// twice.
struct Refusal {
  py::object text;
  py::object error;
  PyFrameObject* frame = nullptr;  // held by `error` or gone
  int instruction = 0;
};

Refusal& last_refusal() {
  static auto* const last = new Refusal();
  return *last;
}

PyFrameObject* current_frame() {
  PyFrameObject* const frame = PyThreadState_GetFrame(PyThreadState_Get());
  Py_XDECREF(frame);  // it runs
  return frame;
}

void keep_refusal(PyObject* text) {
  PyObject* type = nullptr;
  PyObject* error = nullptr;
  PyObject* trace = nullptr;
  PyErr_Fetch(&type, &error, &trace);
  PyErr_NormalizeException(&type, &error, &trace);
  PyFrameObject* const frame = current_frame();
  last_refusal() = {.text = py::reinterpret_borrow<py::object>(text),
                    .error = py::reinterpret_borrow<py::object>(error),
                    .frame = frame,
                    .instruction = frame == nullptr ? 0 : PyFrame_GetLasti(frame)};
  PyErr_Restore(type, error, trace);
}

// Whether Python dropped the error of refusing the text, within the instruction that runs now.
bool was_dropped(PyObject* text) {
  const Refusal last = std::exchange(last_refusal(), {});
  PyFrameObject* const frame = current_frame();
  if (last.text.ptr() != text || frame == nullptr || frame != last.frame ||
      PyFrame_GetLasti(frame) != last.instruction) {
    return false;
  }
  const auto trace = py::reinterpret_steal<py::object>(PyException_GetTraceback(last.error.ptr()));
  return !trace;  // code that handles an error has it
}

// --- In place of the slots ---------------------------------------------------------------------

Py_hash_t hash(PyObject* text) {
  if (!is_asked_about(text)) {
    return of_python().hash(text);
  }
  if (was_dropped(text)) {
    const Py_hash_t value = of_python().hash(text);
    reinterpret_cast<PyASCIIObject*>(text)->hash = -1;  // asked again next time
    return value;
  }
  if (!may_be_one(text, Py_None, Py_EQ)) {
    keep_refusal(text);
    return -1;
  }
  return of_python().hash(text);
}

PyObject* compare(PyObject* left, PyObject* right, int how) {
  if (left != right && PyUnicode_Check(right) != 0 &&
      (is_asked_about(left) || is_asked_about(right)) && !may_be_one(left, right, how)) {
    return nullptr;
  }
  return of_python().compare(left, right, how);
}

int contains(PyObject* text, PyObject* part) {
  if (PyUnicode_Check(part) != 0 && (is_asked_about(text) || is_asked_about(part)) &&
      !may_be_one(text, part, kContains)) {
    return -1;
  }
  return of_python().contains(text, part);
}

Py_ssize_t length(PyObject* text) {
  if (!is_asked_about(text)) {
    return of_python().length(text);
  }
  const auto answer = py::reinterpret_steal<py::object>(take_apart("__len__", text));
  return answer ? PyLong_AsSsize_t(answer.ptr()) : -1;
}

PyObject* item(PyObject* text, PyObject* index) {
  return is_asked_about(text) ? take_apart("__getitem__", text, index)
                              : of_python().item(text, index);
}

PyObject* iterate(PyObject* text) {
  return is_asked_about(text) ? take_apart("__iter__", text) : of_python().iterate(text);
}

// `bytes(text, "utf-8")` and its like encode text.
bool may_be_bytes(PyObject* args) {
  if (PyTuple_GET_SIZE(args) < 2 || !is_asked_about(PyTuple_GET_ITEM(args, 0))) {
    return true;
  }
  const auto answer =
      py::reinterpret_steal<py::object>(take_apart("encode", PyTuple_GET_ITEM(args, 0)));
  return static_cast<bool>(answer);
}

PyObject* new_bytes(PyTypeObject* type, PyObject* args, PyObject* keywords) {
  return may_be_bytes(args) ? of_python().new_bytes(type, args, keywords) : nullptr;
}

int init_bytes(PyObject* bytes, PyObject* args, PyObject* keywords) {
  return may_be_bytes(args) ? of_python().init_bytes(bytes, args, keywords) : -1;
}

// `int(text)`, `float(text)`.
template <newfunc OfPython::* kOriginal>
PyObject* new_number(PyTypeObject* type, PyObject* args, PyObject* keywords) {
  if (PyTuple_GET_SIZE(args) == 0 || !is_asked_about(PyTuple_GET_ITEM(args, 0))) {
    return (of_python().*kOriginal)(type, args, keywords);
  }
  return take_apart(reinterpret_cast<PyObject*>(type), args, keywords);
}

template <vectorcallfunc OfPython::* kOriginal>
PyObject* call_number(PyObject* type, PyObject* const* args, std::size_t num_args,
                      PyObject* names) {
  const Py_ssize_t num_positional = PyVectorcall_NARGS(num_args);
  if (names != nullptr || num_positional == 0 || !is_asked_about(*args)) {
    return (of_python().*kOriginal)(type, args, num_args, names);
  }
  py::tuple given(num_positional);
  for (Py_ssize_t i = 0; i < num_positional; ++i) {
    given[static_cast<std::size_t>(i)] = py::handle(*std::next(args, i));
  }
  return take_apart(type, given, py::handle());
}

void put(const OfPython& functions) {
  PyUnicode_Type.tp_hash = functions.hash;
  PyUnicode_Type.tp_richcompare = functions.compare;
  PyUnicode_Type.tp_as_sequence->sq_contains = functions.contains;
  PyUnicode_Type.tp_as_sequence->sq_length = functions.length;
  PyUnicode_Type.tp_as_mapping->mp_subscript = functions.item;
  PyUnicode_Type.tp_iter = functions.iterate;
  PyBytes_Type.tp_new = functions.new_bytes;
  PyByteArray_Type.tp_init = functions.init_bytes;
  PyLong_Type.tp_new = functions.new_int;
  PyLong_Type.tp_vectorcall = functions.call_int;
  PyFloat_Type.tp_new = functions.new_float;
  PyFloat_Type.tp_vectorcall = functions.call_float;
}

// --- Methods -----------------------------------------------------------------------------------

bool has_text_asked_about(PyObject* self, PyObject* const* args, Py_ssize_t num_args) {
  return is_asked_about(self) ||
         std::any_of(args, std::next(args, num_args), is_asked_about);  // null if there are none
}

// `sorted(texts)`, `texts.sort()`: CPython compares the letters by itself.
bool orders_text(PyObject* self, PyObject* const* args, Py_ssize_t num_args) {
  PyObject* const texts = PyList_Check(self) != 0 || num_args == 0 ? self : *args;
  if (PyList_Check(texts) == 0 && PyTuple_Check(texts) == 0) {
    return false;
  }
  PyObject** const items = PySequence_Fast_ITEMS(texts);
  return std::any_of(items, std::next(items, PySequence_Fast_GET_SIZE(texts)), is_asked_about);
}

py::object handle_method(const BuiltinFunction& method, const py::tuple& args,
                         py::handle keywords) {
  auto result = py::reinterpret_steal<py::object>(take_apart(method.original, args, keywords));
  if (!result) {
    throw py::error_already_set();
  }
  return result;
}

// `getattr(object, text)` and its like. The text is refused before CPython hashes it.
bool names_attribute(PyObject* /*self*/, PyObject* const* args, Py_ssize_t num_args) {
  return num_args >= 2 && is_asked_about(*std::next(args));
}

py::object handle_naming(const BuiltinFunction& function, const py::tuple& args,
                         py::handle keywords) {
  if (!may_be_one(py::object(args[1]).ptr(), Py_None, Py_EQ)) {
    throw py::error_already_set();
  }
  return function.call(args, keywords);
}

}  // namespace

void set_text_guards(TextGuards guards, const py::list& methods, const py::list& naming,
                     const py::list& ordering) {
  of_python();
  guarding().guards = std::move(guards);
  for (const py::handle function : naming) {
    guarding().methods.add(function, &handle_naming, &names_attribute);
  }
  for (const py::handle function : ordering) {
    guarding().methods.add(function, &handle_method, &orders_text);
  }
  for (const py::handle method : methods) {
    guarding().methods.add(method, &handle_method, &has_text_asked_about);
  }
}

void guard_text() {
  if (++guarding().num_guarded == 1) {
    put({.hash = &hash,
         .compare = &compare,
         .contains = &contains,
         .length = &length,
         .item = &item,
         .iterate = &iterate,
         .new_bytes = &new_bytes,
         .init_bytes = &init_bytes,
         .new_int = &new_number<&OfPython::new_int>,
         .call_int = of_python().call_int == nullptr ? nullptr : &call_number<&OfPython::call_int>,
         .new_float = &new_number<&OfPython::new_float>,
         .call_float =
             of_python().call_float == nullptr ? nullptr : &call_number<&OfPython::call_float>});
    guarding().methods.intercept(true);
  }
}

void unguard_text() {
  if (--guarding().num_guarded == 0) {
    put(of_python());
    guarding().methods.intercept(false);
    last_refusal() = {};  // the error's traceback holds what its frames hold
  }
}

void init_guarded_text(py::module_& module) {
  module.def(
      "set_text_guards",
      [](py::object as_one, py::object taken_apart, const py::list& methods, const py::list& naming,
         const py::list& ordering) {
        set_text_guards({std::move(as_one), std::move(taken_apart)}, methods, naming, ordering);
      },
      py::arg("as_one"), py::arg("taken_apart"), py::arg("methods"), py::arg("naming"),
      py::arg("ordering"));
  module.def("instruction_callback", &instruction_callback, py::arg("opcode"), py::arg("arguments"),
             py::arg("others"));
#if PY_VERSION_HEX < 0x030C0000
  module.def(
      "keep_compares_asked",
      [](unsigned char compare, const std::vector<unsigned char>& compares,
         const std::vector<unsigned char>& arguments, std::string_view notes,
         std::vector<std::string> exempt, const py::list& objects) {
        Bytecode bytecode{.compare = compare};
        for (const unsigned char opcode : compares) {
          bytecode.compares.set(opcode);
        }
        for (const unsigned char argument : arguments) {
          bytecode.arguments.set(argument);
        }
        std::ranges::copy(notes.substr(0, bytecode.notes.size()), bytecode.notes.begin());
        keep_compares_asked(bytecode, std::move(exempt), objects);
      },
      py::arg("compare"), py::arg("compares"), py::arg("arguments"), py::arg("notes"),
      py::arg("exempt"), py::arg("objects"));
#endif
  module.def("guard_text", &guard_text);
  module.def("unguard_text", &unguard_text);
}

}  // namespace polyrank

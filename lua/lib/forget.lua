-- Records that were remembered long enough.
local forget_holds, forget_ops = {}, {}

local function forget(member)
  local kind, name = sub(member, 1, 1), sub(member, 2)
  if kind == 'h' then forget_holds[#forget_holds + 1] = name else forget_ops[#forget_ops + 1] = name end
  ended_removed[member] = true
end
